"""What `flowsculpt doctor` looks at: each check reads, changes nothing, and asks no other machine."""
