"""The broker's request handlers, by kind: about records, groups, and administration."""
