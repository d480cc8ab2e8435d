"""Reading files, folders and web pages: whatever comes in becomes `Material`, in child processes with limits."""
