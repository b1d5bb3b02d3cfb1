"""Plain statements that carry no feeling: written sentences, and frames filled with places, times and numbers."""

import random

WRITTEN = """
The earth orbits the sun once a year.
Light travels faster than sound.
Copper conducts electricity.
A hexagon has six sides.
The river flows south into the lake.
Oxygen makes up about a fifth of the air.
The museum opens at nine on weekdays.
The invoice is attached to this email.
Please find the agenda below.
The bus stops in front of the library.
Our office moved to the third floor last year.
The package weighs two kilograms.
This function returns a list of integers.
The server runs on port 8080.
The database stores the time in UTC.
Click the button to save the file.
The meeting was moved from Tuesday to Thursday.
The recipe calls for two eggs and a cup of flour.
Mix the butter and the sugar in a bowl.
The store is closed on public holidays.
The book has 320 pages and twelve chapters.
The committee consists of nine members.
He parked the car behind the building.
She works as an accountant in a small firm.
They live on the second floor.
The table is made of oak.
The printer is next to the window.
The plane lands in the afternoon.
The highway connects the two cities.
The bridge is 200 metres long.
The population of the town is about forty thousand.
The report covers the years from 2010 to 2020.
The table lists the results by country.
The password must have at least eight characters.
The lecture takes place in room 204.
The form has to be signed by both parties.
The contract ends in December.
Turn left at the second traffic light.
The battery lasts around ten hours.
The phone has two cameras.
The engine has four cylinders.
The shop sells shoes and bags.
Rice is grown in many countries in Asia.
The capital of the region is a port city.
The parliament has two chambers.
The word has five letters.
The keyboard is connected by a cable.
The water boils after a few minutes.
Wood floats on water.
Mercury is the planet closest to the sun.
The heart pumps blood through the body.
Most birds build nests in spring.
The cat sleeps on the sofa.
The dog is in the garden.
The patient takes one tablet every morning.
The blood sample was taken at 8 am.
The study included 120 participants.
The temperature will be around 15 degrees tomorrow.
It rains about 100 days a year there.
The shirt is available in three sizes.
The file is in the shared folder.
The second edition was printed in 1998.
The company was founded in 1984.
The factory produces paper.
The course lasts six weeks.
The lesson starts at ten.
There are twelve months in a year.
A week has seven days.
The square root of 81 is 9.
Seven times eight is fifty-six.
The sum of the angles of a triangle is 180 degrees.
The painting hangs in the hall.
The key is under the mat.
The milk is in the fridge.
The letters are sorted by date.
The list contains the names of all members.
I am writing to confirm our appointment on Monday.
I will send the documents tomorrow.
I take the train to work.
I went to the store and bought bread.
I usually get up at seven.
We have two meetings on Wednesday.
We moved here in 2015.
You can pay by card or in cash.
You need a ticket to enter.
See page 12 for the details.
The update is installed at night.
The setting is in the menu under options.
The article describes the method.
The figure shows the number of users per month.
The author is a professor of history.
The film is two hours long.
The song was recorded in 1971.
The game has three levels.
The train consists of eight cars.
The airport lies north of the city.
The lake is frozen in winter.
The mountain is 2,900 metres high.
The desert covers a third of the country.
Iron melts at 1538 degrees.
Sound needs a medium to travel.
Plants take up water through their roots.
Photosynthesis turns light into chemical energy.
Bees collect nectar from flowers.
Whales are mammals.
A spider has eight legs.
The human body has 206 bones.
The chemical symbol of gold is Au.
Diamond is made of carbon.
The moon takes about a month to go round the earth.
The Pacific is the largest ocean.
The Nile flows through Egypt.
The euro is used in many European countries.
The Second World War ended in 1945.
The wall was built in 1961.
The law was passed in 2003.
The vote takes place every four years.
The library lends books for three weeks.
The elevator holds eight people.
The window faces the street.
The door opens to the left.
The carpet is grey.
The cup holds 250 millilitres.
The box contains twelve pencils.
The price includes tax.
Delivery takes three to five days.
The order number is printed on the receipt.
The application is written in Python.
The loop runs until the list is empty.
The variable holds a string.
The test checks the length of the answer.
The request takes two parameters.
The log is kept for thirty days.
The graph has two axes.
The mean of the sample is 4.2.
The experiment was repeated three times.
Data were collected between March and June.
""".strip().splitlines()

PLACES = (
    "Paris Rome Oslo Lima Cairo Tokyo Boston Vienna Madrid Dublin Nairobi Ottawa Jakarta Warsaw "
    "Prague Seoul Berlin London Chicago Denver Toronto Sydney Lagos Delhi Athens Lisbon"
).split()  # fmt: skip
LANDS = (
    "France Italy Norway Peru Egypt Japan Austria Spain Ireland Kenya Canada Indonesia Poland Korea "
    "Germany India Greece Portugal Brazil Chile"
).split()  # fmt: skip
SUBJECTS = (
    "report document file book table building train bus station office school machine device package "
    "library museum river road bridge course lesson contract form page website computer sensor engine "
    "hotel store factory company department team list map chart program server database class room "
    "shelf cable"
).split()  # fmt: skip
FRAMES = (
    "The {s} is located in {p}.", "The {s} was built in {y}.", "The {s} opens at {h} and closes at {g}.",
    "The {s} has {n} {u}.", "The {s} contains {n} {u} and {m} {u}.", "The {s} to {p} leaves at {h}:{q}.",
    "{p} is a city in {l}.", "{l} exports coffee, steel and {u}.", "The {s} is next to the {t}.",
    "The {s} was moved to the {t}.", "The distance between {p} and {o} is {n} kilometres.", "There are {n} {u} in the {s}.",
    "In {y}, the {s} was sold to a firm from {l}.", "[NAME] works in {p}.", "[NAME] is the owner of the {s}.",
    "The {s} measures {n} by {m} centimetres.", "The {s} costs {n} dollars.", "The {s} number is {n}.",
    "According to the {s}, there were {n} {u} in {y}.", "The {s} will be closed from {h} to {g}.",
    "The next {s} is scheduled for {d}.", "The {s} meets on {d} at {h}.", "Open the {s} and select the {t}.",
    "The {s} and the {t} are on the same floor.", "The average {s} has {n} {u}.", "{n} of the {u} are in {p}.",
    "what time does the {s} open", "the {s} is on the left", "[NAME] sent the {s} to the {t} on {d}.",
    "Where is the {s}?", "It is {h}:{q} in {p}.", "The {s} connects to the {t} over a cable.",
)  # fmt: skip
UNITS = (
    "pages rooms seats windows doors rows columns employees students members items parts floors books chairs"
).split()
DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]


def facts(generator: random.Random, filled: int = 1500) -> list[str]:
    found = list(WRITTEN) * 2
    pick = generator.choice
    for _ in range(filled):
        found.append(
            pick(FRAMES).format(
                s=pick(SUBJECTS), t=pick(SUBJECTS), p=pick(PLACES), o=pick(PLACES), l=pick(LANDS), u=pick(UNITS),
                y=generator.randint(1850, 2025), h=generator.randint(7, 12), g=generator.randint(13, 22),
                q=generator.randint(10, 59), n=generator.randint(2, 900), m=generator.randint(2, 90), d=pick(DAYS),
            )
        )  # fmt: skip
    return found
