SELECT to_regclass('everpost_schema') IS NOT NULL
