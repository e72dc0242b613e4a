SELECT pg_xact_status(:xid::text::xid8)
