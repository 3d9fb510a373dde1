"""Tables of papers, trained and evaluated row by row."""
