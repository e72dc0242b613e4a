"""The publisher `wordpress`: posts on WordPress sites, by their REST API (docs/platforms/wordpress.md)."""
