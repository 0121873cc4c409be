"""The page of a station for the person at the line; it reads the station's folder, and needs nothing of its process."""
