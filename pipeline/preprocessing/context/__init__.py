"""The recent past of the hosts of a record: what they have done in the seconds and minutes before it."""
