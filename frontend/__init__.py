"""The web front end of the fishalive demo: a page, and three REST calls that hand words to workers."""
