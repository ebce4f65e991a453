"""Small public data sets kept in the repository, each with its source and licence in README.md."""
