-- No task leaves the history until the transaction ends: see `everpost_forget_searched` in schema/0002_history.sql. A plan
-- for any values is kept, because making one takes as long as adding many rows.
SELECT pg_advisory_xact_lock_shared(4918270015), set_config('plan_cache_mode', 'force_generic_plan', true)
