UPDATE sessions SET seen_at = :now WHERE digest = :digest
