"""The console: pages for people, made on the server. Nothing of it is loaded before the first page is asked for."""
