"""Where images come from: files, folders that are followed, videos, cameras and streams."""
