"""What people read: figures, tables and the report page."""
