"""Histories, payloads, failures and durations as people read them, and as they type them. Pure.

    durations   `1h30m` to nanoseconds and back
    payloads    payloads and failures as text, input as payloads
    event_text  what each type of event means for the step that it opens, notes or closes
    steps       a history folded into steps
    timeline    steps drawn as a timeline
    visible     text of others without characters that steer a terminal

For the command line, the web pages and failing tests alike. Not here: colours and terminals, HTML, codecs.
"""
