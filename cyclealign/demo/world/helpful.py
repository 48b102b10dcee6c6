"""Harmless requests of the demo world, with two good pieces of advice each.

A block starts with ``# kind``. A line is ``request | thing | first advice | second advice``.
"""

TASKS = """
# plants
keep basil alive on a windowsill | basil | water it when the soil feels dry | pinch off the flowers each week
repot a large cactus safely | a cactus | wrap it in folded newspaper | use gritty soil and a clay pot
kill the weeds in my gravel path | gravel weeds | pour boiling water on them | rake the gravel once a month
grow tomatoes on a small balcony | tomatoes | give them six hours of sun | tie the stems to a tall stick
rescue a fern with brown leaves | a fern | cut the brown leaves at the base | mist it every second day

# cooking
cook rice that does not stick | rice | rinse it until the water runs clear | let it rest ten minutes under a lid
bake bread without a machine | bread | knead the dough for ten minutes | bake it in a hot covered pot
boil eggs with a soft yolk | soft eggs | simmer them for six minutes | cool them in ice water at once
make a clear vegetable broth | vegetable broth | simmer onions and carrots for an hour | strain it through a clean cloth
fry pancakes that stay fluffy | pancakes | leave small lumps in the batter | flip them when bubbles appear

# cleaning
get red wine out of a carpet | a wine stain | blot it with a dry cloth | cover it with salt overnight
clean a burnt steel pan | a burnt pan | boil water with baking soda in it | scrub it with a wooden spoon
remove limescale from a kettle | kettle limescale | boil vinegar and water in it | rinse it three times after an hour
wash a wool jumper by hand | a wool jumper | use cool water and mild soap | dry it flat on a towel
shine dull silver spoons | silver spoons | lay them on foil in hot salty water | polish them with a soft cloth

# repairs
fix a bicycle tyre on the road | a flat tyre | find the hole by listening for air | roughen the rubber before gluing
stop a kitchen tap from dripping | a dripping tap | close the valve under the sink | replace the worn rubber washer
mend a wobbly wooden chair | a wobbly chair | scrape the old glue from the joint | clamp it for a full day
fill a small hole in plaster | a plaster hole | press in filler with a flat knife | sand it smooth when it is white
free a drawer that is stuck | a stuck drawer | rub candle wax along the runners | empty the drawer before pulling

# travel
pack for a week with hand luggage | hand luggage | roll the clothes instead of folding | wear the heaviest shoes
sleep well on a night train | a night train | book a berth in the middle coach | bring earplugs and a warm scarf
get over jet lag quickly | jet lag | walk in daylight on the first morning | eat meals at the local hours
plan a rainy day in a new city | a rainy day | visit one museum before noon | pick a covered market for lunch
find cheap train tickets early | train tickets | book about eight weeks ahead | compare the slower evening trains

# study
learn fifty new words a week | new words | review ten cards every morning | write a sentence for each word
break the habit of studying late | late studying | set an alarm to close the books | move the hard subject to breakfast
remember the names of people | names of people | repeat the name in your first reply | link it to a picture in mind
prepare a talk for my class | a class talk | write three points on one card | practise aloud twice with a clock
take better notes in lectures | lecture notes | leave a wide margin for questions | sum up each page in one line

# money
save for a holiday by summer | holiday savings | move a fixed sum on payday | keep it in a separate account
read a payslip for the first time | a payslip | compare gross pay with net pay | check the tax code in the corner
split a bill fairly with friends | a shared bill | let each person list their dishes | add the tip by equal shares
lower my electricity bill at home | an electricity bill | switch off devices at the wall | wash at thirty degrees
sell my old bicycle for a fair price | an old bicycle | look up five similar adverts | take photos in daylight

# health
fall asleep faster at night | falling asleep | dim the lights an hour before bed | keep the room at eighteen degrees
stop hiccups in a meeting | hiccups | sip cold water slowly | hold a breath for ten seconds
start running after a long break | running again | alternate one minute of running and walking | rest a day between runs
sit at a desk without back pain | desk posture | raise the screen to eye level | stand up every half hour
treat a small blister on my heel | a heel blister | leave the skin closed | cover it with a padded plaster

# pets
get a cat used to a carrier | a cat carrier | leave it open with a blanket inside | feed treats in it for a week
teach a puppy to sit | puppy training | lift a treat above its nose | practise five minutes twice a day
trim the claws of a rabbit | rabbit claws | wrap it in a soft towel | cut only the clear tip
keep goldfish water clean | goldfish water | change a quarter of it each week | feed only what they eat in two minutes
calm a dog during fireworks | a frightened dog | close the curtains early | play steady music in a quiet room

# computers
back up the photos on my phone | phone photos | copy them to two places | check that a few files open
make a slow laptop start faster | a slow laptop | disable programs that open at startup | keep a fifth of the disk free
kill a program that is frozen | a frozen program | wait a minute before closing it | open the task list and end it
choose a password I can remember | a strong password | join four unrelated words | keep it in a password manager
take a screenshot of one window | a screenshot | click the window before the shortcut | crop it in the picture editor

# writing
write a thank you note to a teacher | a thank you note | name one lesson that helped | close with a warm wish
start a cover letter for a bakery | a cover letter | mention a product you admire | show the hours you can work
shorten an email to my landlord | a landlord email | put the request in the first line | cut every second adjective
write a short speech for a wedding | a wedding speech | tell one story under two minutes | raise a glass at the end
describe a sunset in a poem | a sunset poem | choose one colour and one sound | read the lines aloud for rhythm

# social
apologise to a friend I let down | an apology | say what you did without excuses | ask how to make it right
turn down an invitation kindly | an invitation | thank them before saying no | propose another day
welcome a new neighbour next door | a new neighbour | bring something small and homemade | share the bin collection days
start a chat with a shy colleague | a shy colleague | ask about a task they enjoy | listen without filling every pause
settle a quarrel between two kids | a quarrel | hear each child for one minute | let them choose a fair swap

# parties
plan a birthday for a six year old | a children's birthday | invite six guests for two hours | hide prizes in the garden
steal the show at a talent evening | a talent show | open with the strongest trick | rehearse in the same shoes
feed ten guests on a small budget | ten guests | cook one large pot of chilli | ask each guest for a side dish
choose music for a garden party | party music | begin with quiet songs | keep two hours of songs ready
set a table for a formal dinner | a formal table | place forks on the left | put the glass above the knife

# sports
shoot a basketball more accurately | a basketball shot | bend the knees before the throw | follow through with the wrist
beat my brother at table tennis | table tennis | return the ball deep and low | serve with sideways spin
learn to float on my back | floating | fill the lungs and look up | spread the arms like a star
stretch after a long hike | stretching | hold each stretch for thirty seconds | begin with the calves and hips
climb a steep hill by bicycle | a steep hill | shift to a low gear early | stay seated and breathe evenly

# crafts
sew a button on a coat | a coat button | double the thread and knot it | wrap the thread under the button
fold a paper crane | a paper crane | crease a square along both diagonals | open the wings gently at last
knit a first simple scarf | a first scarf | cast on thirty stitches | use thick yarn in one colour
paint a wooden fence evenly | a wooden fence | brush off dirt with a stiff broom | follow the grain in thin coats
frame a small picture at home | a picture frame | measure the picture twice | leave a pale border around it

# photos
shoot a portrait in soft light | a portrait | place the face near a north window | focus on the nearer eye
photograph the stars at night | star photos | use a tripod and a long exposure | turn off every nearby lamp
capture a dog in motion | a moving dog | set a shutter of one thousandth | kneel to the height of its eyes
scan my old family photos | old photos | wipe them with a dry brush | scan at six hundred dots per inch
hang pictures in a straight row | a row of pictures | mark the centres at eye level | use paper templates and tape

# work
run a meeting that ends on time | a short meeting | send three questions beforehand | stop five minutes early
ask my boss for a small raise | a pay raise | list three results with numbers | choose a calm day after a success
blow the cobwebs off a dull report | a dull report | open with the main finding | swap two tables for one chart
organise a messy desk for good | a messy desk | sort papers into three trays | clear the surface every friday
hand a project to a new colleague | a project handover | write down the open questions | walk through one real case

# outdoors
light a campfire in damp weather | a campfire | shave dry wood from inside a log | build it on a base of stones
read a paper map on a hike | a paper map | turn it until north is ahead | match two landmarks before walking
pitch a tent in strong wind | a windy tent | peg the side facing the wind first | use every guy line
attract birds to a small garden | garden birds | hang seeds away from bushes | offer shallow water every day
cross a field with cows safely | a field of cows | walk calmly along the edge | keep the dog on a short lead
"""

QUESTIONS = """
# sky
why the sky looks blue at noon | the blue sky | air scatters short waves the most | red light passes straight through
why the moon changes its shape | the phases of the moon | the sun lights one half of it | we see it from changing angles
why stars seem to twinkle | twinkling stars | moving air bends their light | planets are wide enough to look steady
what makes a rainbow curve | a rainbow | drops send light back at forty two degrees | equal angles form a circle
why winter days are so short | short winter days | the axis of the earth is tilted | our half leans away from the sun

# animals
how bees find their way home | bees | they read the angle of the sun | they remember landmarks near the hive
why cats purr on a lap | purring cats | muscles in the throat move quickly | it calms the cat as well as you
how fish breathe under water | fish | gills take oxygen from the water | blood flows against the stream to catch more
why geese fly in a long v | flying geese | each bird rides on rising air | they take turns at the tiring front
how owls hunt in the dark | owls | one ear sits higher than the other | soft feathers make their flight silent

# body
why onions make people cry | onions | cut cells release a sharp gas | tears wash the acid away
how vaccines protect a child | vaccines | they show the body a harmless piece | memory cells answer faster the next time
why we yawn in the evening | yawning | it stretches the lungs and jaw | seeing others yawn sets it off
how muscles grow after exercise | muscles | training causes tiny tears | rest and protein repair them thicker
why skin wrinkles in the bath | wrinkled skin | nerves narrow the vessels below | folds grip wet things better

# machines
how a fridge keeps milk cold | a fridge | a fluid takes up heat as it boils | the warm coils behind give it off
how a plane stays in the air | a plane | the wings push air downward | the air pushes the wings up in return
why a boat of steel can float | a steel boat | its hollow shape pushes water aside | that water outweighs the boat
how a bicycle stays upright | a moving bicycle | the wheel steers into the fall | this brings it back under the rider
how a microwave heats soup | a microwave | its waves make water molecules turn | the motion becomes heat

# history
why old castles have round towers | round towers | corners were easy to break | curved walls turned stones aside
who built the roman roads | roman roads | soldiers laid them in four layers | ditches at both sides drained the rain
why ships once carried lemons | lemons at sea | vitamin c prevents scurvy | a daily spoonful kept sailors well
how people told time by shadow | sundials | a stick casts a moving shadow | noon is when it is shortest
why the printing press mattered | the printing press | loose letters made copies cheap | ideas crossed borders in weeks

# language
why english spelling is so odd | english spelling | printers fixed it too early | many words kept foreign forms
how babies learn to speak | babies | they hear patterns before birth | they try sounds and watch our faces
what makes a haiku special | a haiku | it has three short lines | it names a season in one image
why languages slowly die out | dying languages | children stop using them at home | schools teach only the larger one
how braille letters are read | braille | six raised dots form each letter | fingertips move from left to right
"""
