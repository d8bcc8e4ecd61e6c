"""What the command line and the demonstration print with: plain text of others, tables, documents, the status view.

May import nothing of sidestream. Invariant: text that others wrote (titles, ids, reasons) reaches the terminal as text:
it is never read as markup, and a control character in it is shown, never obeyed."""
