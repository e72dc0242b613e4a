DELETE FROM limits WHERE scope = :scope
