"""How fast Everpost is: `everpost bench`, its own load generator, its own count of the work (run.py begins)."""
