"""The process of a server: its start, its log, its endless loops, its memory."""
