"""What people call from Python, and the commands of `svdrift` too: docs/python.md.

Each module holds one call. `import svdrift` loads none of them; the first use of its name does.
"""
