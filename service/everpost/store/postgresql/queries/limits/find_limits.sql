SELECT scope, value FROM limits
