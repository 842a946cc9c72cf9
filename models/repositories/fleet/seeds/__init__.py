"""What every installation starts with, as CSV files; in a folder, what the provider that it is called after brings."""
