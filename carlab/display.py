def trace_text(trace):
    return "t"


def trace_html(trace):
    return "t"
