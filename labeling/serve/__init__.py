"""The server of the 3D editor: its page, its API, and the way to Label Studio behind it."""
