"""WinCLIP: windows of an image compared with words for what is normal and what is not."""
