"""Unit tests of rules: promtool's format, promtool's verdict, and our own count of what is covered."""
