SELECT scope, value FROM limits WHERE scope = ANY (:scopes::text[])
