SELECT scope, closed_until FROM limit_closures WHERE closed_until > :now
