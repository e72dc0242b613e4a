INSERT OR IGNORE INTO failure_causes (cause, error_class, text) VALUES (:cause, :error_class, :text)
