"""The console: pages for people, made on the server. It is loaded when the first page is asked for."""
