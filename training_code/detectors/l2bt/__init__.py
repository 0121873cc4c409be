"""L2BT: two small students that map the features of one layer to those of another, and back."""
