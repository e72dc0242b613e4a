-- For the rest of the transaction, plans are made for the values that are asked for.
SELECT set_config('plan_cache_mode', 'force_custom_plan', true)
