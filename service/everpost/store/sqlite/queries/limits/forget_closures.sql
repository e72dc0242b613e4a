DELETE FROM limit_closures WHERE scope IN (
    SELECT scope FROM limit_closures WHERE closed_until < :before ORDER BY closed_until LIMIT :limit
)
