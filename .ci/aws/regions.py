"""The regions in which the template can be deployed."""

from template import source


def supported():
    return source()["Rules"]["SupportedRegion"]["Assertions"][0]["Assert"]["Fn::Contains"][0]


if __name__ == "__main__":
    print(*supported())
