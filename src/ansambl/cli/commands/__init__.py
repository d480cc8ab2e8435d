"""One module for each command; its `register` adds it to the program. A new command is a new module here.

Modules import only light things at the top, so that ``ansambl --help`` is quick.
"""
