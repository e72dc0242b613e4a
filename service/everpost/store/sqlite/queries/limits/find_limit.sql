SELECT value FROM limits WHERE scope = :scope
