INSERT INTO failure_causes (cause, error_class, text)
SELECT DISTINCT ON (cause) cause, error_class, text
FROM json_to_recordset(:rows) AS given (cause text, error_class text, text text)
ORDER BY cause
ON CONFLICT (cause) DO NOTHING
