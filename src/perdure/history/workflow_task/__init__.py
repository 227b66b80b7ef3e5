"""Workflow tasks: scheduled, offered, started, completed, failed, timed out.

Role: the steps that other families use to schedule a task (`steps`), the life of an attempt (`attempts`), the reply to
a poller (`reply`), and where it stands (`phase`).
Not here: the commands and messages that a completion carries (`commands`).
"""
