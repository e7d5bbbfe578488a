"""Opens the networks that judge films; one that is not there is a reason in words, never another one."""
