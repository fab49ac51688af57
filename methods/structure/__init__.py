"""Structural tickets: filters or layers really removed, the same criteria and the same course for both."""
