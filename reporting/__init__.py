"""Pictures and reports for people: bird's-eye views and the page that tells what one turn did."""
