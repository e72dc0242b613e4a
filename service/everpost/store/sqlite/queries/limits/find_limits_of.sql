SELECT scope, value FROM limits WHERE scope IN (SELECT value FROM json_each(:scopes))
