"""The page: trigger runs, watch them, read what they left. Reads PostgreSQL; acts only through what it is handed."""
