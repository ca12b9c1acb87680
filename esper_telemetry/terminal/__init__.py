"""SHOW it in a terminal: the figures of `views` as text, in an application of textual. It reads no file itself.

textual and rich are imported here and in `commands` only. Text of a record reaches the terminal as text: what would
move a cursor or change a colour is escaped first.
"""
