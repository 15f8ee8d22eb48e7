#!/usr/bin/env python3
"""Writes the examples' workbooks. Run it by hand when the examples change:

    python3 examples/make.py          # needs openpyxl

The workbooks are committed, so nobody needs this to run the examples. The sentences below are
written for this project; products, people and places are made up. The same seed gives the same
rows.
"""

import random
from datetime import date, timedelta
from pathlib import Path

from openpyxl import Workbook
from openpyxl.styles import Font

HERE = Path(__file__).parent

# Product -> (what was good about it, what was bad about it), phrased like customer reviews.
PRODUCTS = {
    "Kettle K2": (
        ["It boils a litre in under three minutes and the handle stays cool.",
         "The spout pours cleanly, not a drop on the counter.",
         "Quiet enough that the baby sleeps through it."],
        ["The lid snapped off after two weeks.",
         "It leaks at the seam and the base is always wet.",
         "The water tastes of plastic, even after ten boils."]),
    "Trail Pack 30L": (
        ["Carried 11 kg over the Hardangervidda and my shoulders were fine.",
         "The rain cover is excellent, my notebook stayed dry for four days.",
         "Great hip belt, and the pockets are where you want them."],
        ["A strap tore on the first day, 18 km from the nearest road.",
         "The zip jams whenever it is cold, which is useless on a mountain.",
         "The frame squeaks terribly with every step."]),
    "Desk Lamp Luma": (
        ["Lovely warm light, and my eyes are no longer tired in the evening.",
         "The arm stays exactly where you put it.",
         "The dimmer is smooth and remembers the last setting."],
        ["It flickers at the lowest step and gives me a headache.",
         "The touch switch fails every other time.",
         "The foot is too light, so the lamp falls over. Annoying."]),
    "Noise-Off Headset": (
        ["The office is gone the moment I put it on. Wonderful.",
         "The battery lasts a full week of calls.",
         "My colleagues say that my voice is clear even on the train."],
        ["The left side died after a month.",
         "It hurts after an hour, the pads are hard as wood.",
         "The microphone is awful, everybody asks me to repeat."]),
    "Pour-Over Set": (
        ["Best coffee I have made at home, clean and sweet.",
         "Beautiful glass, and easy to wash.",
         "The filter fits perfectly, no grounds in the cup."],
        ["The glass cracked at the first hot water. Dangerous!",
         "The stand wobbles and I burned my hand.",
         "The filters it came with are poor and tear at once."]),
    "Robot Vac S": (
        ["It finds every corner and the dog hair is gone.",
         "Setup took five minutes and it was happy to map the flat by itself.",
         "It docks reliably, even after the cat has moved the base."],
        ["It gets stuck under the same chair every single day.",
         "The map is lost after each update, what a disaster.",
         "Loud like a hair dryer, and it still misses the crumbs."]),
    "Kids Bike 16": (
        ["My daughter learned to ride in one afternoon and loves it.",
         "The brakes are made for small hands, which is a smart idea.",
         "Light enough that she carries it up the stairs herself."],
        ["The chain came off on the first ride and he fell. Horrible.",
         "The bell broke, the pedal is loose, and the paint chips.",
         "The manual is missing and the screws do not fit."]),
    "Garden Shears Pro": (
        ["They cut finger-thick branches like butter.",
         "Sharp, well balanced, and comfortable for an hour of hedge.",
         "The spring is strong and the lock is safe."],
        ["They were blunt out of the box.",
         "Rust after one night outside, very disappointing.",
         "The handle came loose and pinched my thumb, which was painful."]),
    "Rain Jacket Vindr": (
        ["Two hours of heavy rain and I was completely dry. Perfect.",
         "The hood fits over a helmet and the cut is great.",
         "It packs into its own pocket, which is really useful."],
        ["The seams let water in, so it is no rain jacket at all.",
         "The size is wrong, an L that fits like an S.",
         "It smells strongly of chemicals even after washing. Bad."]),
    "Bread Knife 24": (
        ["It goes through a crusty loaf without a crumb.",
         "Well made, with a handle that feels good.",
         "Still sharp after a year of daily use, impressive."],
        ["The blade bends, and slices come out like wedges.",
         "The tip broke off in a frozen baguette.",
         "The coating peels off into the bread. Disgusting."]),
    "Board Game Fjord": (
        ["We laughed all evening and played it three times in a row.",
         "The rules fit on two pages and the children loved it at once.",
         "Great art, and the wooden boats are a joy."],
        ["Four cards were missing from the box.",
         "The rules contradict themselves and we argued all night.",
         "It is decided in the first round; the rest is boring."]),
    "Phone Case Skal": (
        ["It survived a fall from the balcony without a scratch on the phone.",
         "Slim, nice to hold, and it does not slip.",
         "Wireless charging works well through it."],
        ["It turned yellow within a month and looks ugly.",
         "The buttons are so stiff that they are useless.",
         "The screen broke at the first drop, so it protects nothing."]),
}

OPEN = {
    "good": ["Very happy with this.", "I love it!", "Great buy.", "Excellent, would buy again.",
             "A pleasant surprise.", "Exactly what I hoped for.", "Fantastic 😊",
             "Best purchase this year.", "Wow, what a nice thing.", "Super zufrieden — really good.",
             "Très bien! Works great.", "I was sceptical, but it is wonderful."],
    "bad": ["Disappointed.", "I want my money back.", "Terrible.", "Do not buy this.",
            "What a waste of money.", "Not good at all.", "I am really angry 😡",
            "Sadly a bad product.", "Poor quality.", "Worst purchase this year.",
            "Leider schlecht, it broke.", "I regret this."],
    "plain": ["Bought in March.", "Second one we own.", "Used for about three weeks.",
              "For my parents' house.", "Came as described.", "Delivered on a Tuesday.",
              "Ordered for the office.", "Same as the one before."],
    "mixed": ["Good and bad.", "Two sides to this one.", "It depends.", "Mixed feelings.",
              "Nice idea, but.", "Hm. 🤔"],
}
CLOSE = {
    "good": ["Recommended!", "Thank you.", "Five stars from the whole family.",
             "Worth every krone.", "Delivery was fast, too.", "The support was friendly and helpful.",
             "I bought a second one as a gift ❤️.", ""],
    "bad": ["Returned it.", "The support never answered.", "Avoid.",
            "It went straight into the bin.", "Never again.", "Shame, I wanted to like it.",
            "The refund took six weeks, which is a joke.", ""],
    "plain": ["It is used on weekdays.", "The box is 40 cm long.", "Colour as in the picture.",
              "It stands in the hall.", "More after a few months.", "The cable is 1.8 m.", ""],
    "mixed": ["For the price it is acceptable.", "I keep it for now.",
              "A better version would be great.", "Undecided.", ""],
}
PLAIN = ["It comes in a brown box with a manual in nine languages.",
         "It weighs 1,240 g on my kitchen scale.",
         "There is a blue one and a grey one; this is the grey one.",
         "Size M corresponds to the table on the page.",
         "The serial number is printed on the bottom.",
         "It replaced one from another maker.",
         "Assembly takes two people and a 5 mm key."]

STARS = {"good": [5, 5, 5, 4, 4], "bad": [1, 1, 2, 2], "plain": [3, 3, 4], "mixed": [2, 3, 3, 4]}

# Reviews that a generator would not write.
BY_HAND = [
    ("Kettle K2", 5, "=== FIVE STARS === perfect kettle, thank you!"),
    ("Phone Case Skal", 1, "Yeah, great. Really great. Broke on day one. Five stars for nothing."),
    ("Pour-Over Set", 5, "素晴らしい! Wonderful coffee every morning."),
    ("Rain Jacket Vindr", 4, "Regnjakken er god. Good jacket, stays dry, a bit long for me."),
    ("Board Game Fjord", 5, "👍👍👍 LOVED IT"),
    ("Desk Lamp Luma", 2, "Not bad, not good. I expected more for the money."),
    ("Robot Vac S", 1, "I HATE this thing. It ate my charger and then it died."),
    ("Bread Knife 24", 3, "A knife."),
    ("Trail Pack 30L", 5, "-10 °C, 60 km, no complaints. Brilliant pack."),
    ("Garden Shears Pro", 4, "+1 from the whole allotment, good shears"),
    ("Kids Bike 16", 5, "“Papa, it is the best bike in the world!” — I agree, 16″ fits him well."),
    ("Noise-Off Headset", 2, "Sound: good. Comfort: bad. Microphone: very bad. Price: a joke."),
]


def review(rng, product, tone):
    good, bad = PRODUCTS[product]
    body = {
        "good": lambda: rng.sample(good, rng.choice([1, 2])),
        "bad": lambda: rng.sample(bad, rng.choice([1, 2])),
        "plain": lambda: rng.sample(PLAIN, 2),
        "mixed": lambda: [rng.choice(good), "But: " + rng.choice(bad).lower()],
    }[tone]()
    return " ".join(p for p in [rng.choice(OPEN[tone]), *body, rng.choice(CLOSE[tone])] if p)


def save(book, path):
    # A fixed date, so that the same rows give the same bytes but for the zip's own times.
    sheet = book.active
    for cell in sheet[1]:
        cell.font = Font(bold=True)
    sheet.freeze_panes = "A2"
    book.save(path)
    print(path, sheet.max_row - 1, "rows")


def reviews():
    rng = random.Random(2411)
    book = Workbook()
    sheet = book.active
    sheet.title = "Reviews"
    sheet.append(["Review ID", "Product", "Date", "Stars", "Verified", "Review"])
    rows = list(BY_HAND)
    seen = set()
    while len(rows) < 340:
        product = rng.choice(list(PRODUCTS))
        tone = rng.choices(["good", "bad", "plain", "mixed"], [45, 28, 12, 15])[0]
        text = review(rng, product, tone)
        if text not in seen:
            seen.add(text)
            rows.append((product, rng.choice(STARS[tone]), text))
    rng.shuffle(rows)
    day = date(2026, 1, 3)
    for i, (product, stars, text) in enumerate(rows):
        day += timedelta(days=rng.choice([0, 0, 1, 1, 2]))
        line = [f"{417 + i:06}", product, day, stars, rng.random() < 0.8, text]
        if i == 119:
            line[5] = None  # rejected: nothing to score
        sheet.append(line)
        if i == 70:
            sheet.append([])  # rejected: blank
        if i == 201:
            sheet.append([line[0], product, day, stars, False, "Posted twice by mistake."])
    for row in sheet.iter_rows(min_row=2):
        # openpyxl would make a formula of a text that begins with =.
        if isinstance(row[5].value, str):
            row[5].data_type = "s"
        row[0].number_format = "@"
        row[2].number_format = "yyyy-mm-dd"
    for column, width in zip("ABCDEF", [11, 20, 12, 7, 9, 90]):
        sheet.column_dimensions[column].width = width
    save(book, HERE / "reviews" / "reviews.xlsx")


FIRST = ["Astrid", "Bjørn", "Chloé", "Dmitri", "Eun-ji", "Fatima", "Gustavo", "Hana", "Ivo",
         "Jürgen", "Kwame", "Lucía", "Mehmet", "Niamh", "Oğuz", "Priya", "Quentin", "Rosa",
         "Søren", "Thu", "Ulla", "Vasco", "Wiebke", "Xiulan", "Yusuf", "Zoë"]
LAST = ["Aalto", "Berg", "Costa", "D'Angelo", "Eriksen", "Fischer", "García", "Håkansson",
        "Ito", "Jónsdóttir", "Kowalski", "Łukasz", "Moreau", "Nguyễn", "O'Brien", "Petrov",
        "Quinn", "Rossi", "Schäfer", "Takahashi", "Ünal", "Vries", "Wójcik", "Yılmaz"]


def tax_due():
    rng = random.Random(77)
    book = Workbook()
    sheet = book.active
    sheet.title = "Customers"
    sheet.append(["Customer ID", "Name", "ZIP", "Since", "Credit limit", "Active"])
    for i in range(330):
        line = [f"C{1000 + i}", f"{rng.choice(FIRST)} {rng.choice(LAST)}",
                f"{rng.choice([501, 544, 1001, 2139, 6390, 7030, 10115, 33109, 94105]):05}",
                date(2009, 1, 1) + timedelta(days=rng.randrange(6200)),
                rng.choice([500, 1000, 2500, 2500, 5000, 12500.5]), rng.random() < 0.9]
        sheet.append(line)
        if i in (40, 41, 250):
            sheet.append([])  # rejected: blank
        if i == 97:
            sheet.append([None, "No Number", "10115", date(2020, 5, 1), 1000, True])
        if i == 180:
            sheet.append(line[:1] + ["Same Number", *line[2:]])  # rejected: duplicate key
        if i == 260:
            sheet.append(["C9001", "Bad Date", "10115", "soon", 1000, True])  # rejected: no date
    for row in sheet.iter_rows(min_row=2):
        row[2].number_format = "@"
        row[3].number_format = "yyyy-mm-dd"
        row[4].number_format = "#,##0.00"
    for column, width in zip("ABCDEF", [13, 24, 8, 12, 13, 8]):
        sheet.column_dimensions[column].width = width
    save(book, HERE / "tax-due" / "tax-due.xlsx")


MESSAGES = [
    "I have been debited twice this month, please refund one payment.",
    "The courier says he rang, I was next to the door the whole day.",
    "The hinge snapped and the door now hangs by one screw.",
    "Thank you so much for the quick help yesterday!",
    "Where is my parcel? The tracking stopped on Tuesday.",
    "Our invoice lacks the order number, can you send a corrected one?",
    "The headset crackles and the right side is dead.",
    "What a great shop, I will be back.",
    "The discount was not applied at checkout.",
    "My package was left out in the snow.",
    "The kettle leaks and the switch is loose.",
    "Lovely quality, my mother is delighted.",
    "I want my money back for the cancelled subscription.",
    "You sent the order to my old address again.",
    "The app freezes after the last update.",
    "Your colleague Mia was friendly and solved everything. Great service!",
    "The box arrived open and half empty.",
    "Why was my card charged before anything was shipped?",
    "The zip jams and the seam is coming apart.",
    "Fast, friendly, perfect. Thanks!",
    "Can the shipment be held until the 3rd? We are on holiday.",
    "The bill shows sales tax twice.",
    "The battery does not charge any more.",
    "Wonderful lamp, I am very happy with it.",
    "They delivered it to a shop on the other side of town.",
    "Please change the name on the receipt.",
    "The screen has a crack in the corner.",
    "I recommend you to all my friends.",
    "It has said 'out for delivery' for four days.",
    "The refund is eleven euros short.",
]


def complaints():
    book = Workbook()
    sheet = book.active
    sheet.title = "Inbox"
    sheet.append(["Ticket", "Received", "Message"])
    for i, text in enumerate(MESSAGES):
        sheet.append([f"T-{3081 + i}", date(2026, 3, 2) + timedelta(days=i // 4), text])
        if i == 12:
            sheet.append([f"T-{3081 + i}b", date(2026, 3, 5), None])  # rejected: no message
    for row in sheet.iter_rows(min_row=2):
        row[1].number_format = "yyyy-mm-dd"
    for column, width in zip("ABC", [10, 12, 80]):
        sheet.column_dimensions[column].width = width
    save(book, HERE / "complaints" / "complaints.xlsx")


SHORT = ["OK", "👍👍👍", "Super!", "10/10", "Perfecto", "Très bien !"]


def multilingual():
    """A thousand reviews of the sentences that the example's server knows, and some short ones."""
    rng = random.Random(1812)
    sentences = {}
    lines = (HERE / "reviews-multilingual" / "sentences.tsv").read_text().splitlines()
    for language, tone, sentence, _ in (line.split("\t") for line in lines):
        sentences.setdefault((language, tone), []).append(sentence)
    languages = sorted({language for language, _ in sentences})
    book = Workbook()
    sheet = book.active
    sheet.title = "Reviews"
    sheet.append(["Review ID", "Product", "Stars", "Review"])
    for i in range(1000):
        language = rng.choices(languages, [30, 25, 10, 15, 10, 10])[0]
        tone = rng.choices(["good", "bad"], [60, 40])[0]
        text = rng.sample(sentences[language, tone], rng.choice([2, 2, 3]))
        if rng.random() < 0.3:
            text.insert(0, rng.choice(sentences[language, "plain"]))
        if i % 167 == 80:
            text = [SHORT[i // 167]]
        sheet.append([f"M{20000 + i}", rng.choice(list(PRODUCTS)), rng.choice(STARS[tone]),
                      " ".join(text)])
    for column, width in zip("ABCD", [11, 20, 7, 110]):
        sheet.column_dimensions[column].width = width
    save(book, HERE / "reviews-multilingual" / "reviews.xlsx")


if __name__ == "__main__":
    multilingual()
    reviews()
    tax_due()
    complaints()
