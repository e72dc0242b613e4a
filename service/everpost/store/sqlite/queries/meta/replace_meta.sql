UPDATE everpost_meta SET value = :value WHERE key = :key AND value = :old
