"""UniNet: a student of two teachers, of which one is trained with it."""
