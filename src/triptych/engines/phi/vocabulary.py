"""Words that programs call their fields and tools by.

Names such as ``page``, ``state`` or ``headers`` stand alone, and what tells names of people apart from
other words is the sentence around them. Where all words of a name are among these, it names nobody.
"""

import re

_NAME = re.compile(r"_?[A-Za-z][A-Za-z0-9]*(?:[_.-][A-Za-z0-9]+)*_?")
_SEGMENT = re.compile(r"[A-Za-z0-9]+")
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_MAX_CHARS = 64


def is_usual(name: str) -> bool:
    """Whether a name in the manner of programs (``pageNumber``, ``page_number``) has usual words only."""
    if len(name) > _MAX_CHARS or _NAME.fullmatch(name) is None:
        return False
    return all(
        segment.lower() in _WORDS or all(word.lower() in _WORDS for word in _WORD.findall(segment))
        for segment in _SEGMENT.findall(name)
    )


_WORDS = frozenset(
    """
a abort about accept accepted access account accuracy acknowledged acknowledgement action actions activated
active activity actor adaptive add added additional address admin adoption advisor after age agent agents
ago alert alias all allergies allergy allow allowed allowlist always amount analysis anchor and annotation
annotations answer answers anthropic any api app appeal append applied applies appointment approval approve
approximate apt archive archived area arg args arguments arn array arrival article articles artifact
artifacts asc ascending ask assessment assign assigned assignee assignees assignment assistant async at
attachment attachments attempt attempts attr attribute attributed attributes audience audio auth author
authorization authorized auto automatic automation available avatar avg awareness backend background balance
banned base base64 bash batch bcc bed before begin behavior best beta betas between bias billing binding
birth blob block blocked blocks blog blood board body book bool boolean bot bottom bound bp branch brand
breakpoint browser bucket buckets budget bug build bulk business button buy by bytes ca cache cached caching
calculate calendar call caller callers calls camera cancel canceled cancelled cancelling cap capabilities
capability caption card cargo carry cart case cat categories category cb cc cd cell cells celsius center
cert certificate certificates change changes channel channels char characters chart chat chatkit check
checked checkout checkpoint checks child children choice choices chunk chunking ci citation citations cited
city claim claims class clear cleared click client clinic clinical clone close closed code codes col
collection color colour column columns command commands comment comments commit common compact compaction
company compare comparison compartment complete completed completion completions complexity component
components compression compute concurrent condition conditions confidence config configs configuration
confirm connect connection connector connectors consecutive consent console contact contacts contain
container contains content contents context continuation control conversation conversations convert
coordinate coordinates copy core cost count country counts county coupon course cowork cp cpt create created
creation creator credential credit criteria css csv ctx currency current cursor custom customer customers
cwd cyber daily dark dashboard data database dataset datasource date dates day days db dd deactivated debug
decision decisions default defer definition delay delegation delete deleted delivery delta deltas deny
department departure deployment deprecated depth desc descending describe description design desired desktop
destination detail detailed details detection determination developer device diagnoses diagnosis diagnostics
diff dim dimensions dir direction directories directory disable disabled discharge discount discovery
dispatch display distance distinct division do dob doc docs document documents domain domains dosage dose
double down download downloadable dpo draft drag drop drug dry dst due duration each eager eagerness echo
economy edit edits effective effort efs elapsed else email emails embedding employee empty enable enabled
encoding encounter encrypted end ended ending endpoint ends enforcement engine entitled entity entries entry
enum env environment ephemeral epochs equals err error errored errors estimate estimated eval evaluated
evaluation evaluations event events every exact example examples excel exclude exec execute executes
execution existing exit expand expected experimental expired expires explanation export expr expression ext
extended extension extensions external extra extract factor fahrenheit fail failed failures fallback
fallbacks false family fax feature features federation fee feedback fetch fetched fidelity field fields file
filename files fill filter filters final finalizing find fine fingerprint finish finished first fit flag
flagged flags flight float fn folder font footer for force form format forms formula forward found frame
free freq frequency from full func function functions gem gen gender generate generated generation geo
geography geos get git github gitlab glob global go goal graceful grade grader graders grammar granted
grants granularities graph graphic greater grep grid group groups gt gte guest guests guide handle
harassment harm has hash hate head header headers heading health healthy heart heartbeat height help hh
hidden high hint history hold home host hostname hosts hotel hour hours hover html http https human hybrid
hyperparameters iata icd icd10 icon id idempotency ident identifier identity idle ids if ignore illicit
image images imperial impl implicit import in include included inclusion incomplete increment index
individual inference info inherited init initial initiated injection inline inner input inputs insert
inserted install installation instance instruction instructions insurance int integer integrations intent
interpreter interrupt interval invalid inventory invite invited invocation invoice ip ips is iso issue
issuer issues item items iteration iterations javascript jira job join js json jsx jti jupyter jwks jwt k
keep kelvin key keys keyword keywords kind kms known kwargs lab label labels labs lang language languages
last lat latest latitude layer layout learning lease least left legal length less letter level levels
library license lifecycle lifetime like limit limits line lines link links list lists live lng load loading
loc local locale location locations locator lock log logging login logit logo logout logprob logprobs logs
lon long longitude loss low lower ls lt lte main make managed management manager managers manifest map
mapping markdown marketplace markup mask match matchers max maximum mcp md5 mean measure media median
medication medications medicine medium meds megabytes member members memory mention menu merge merges
message messages meta metadata method metric metrics middle millisecond milliseconds mime min minimum minors
minute minutes misalignment mismatch miss missed missing mkdir mm modalities mode model models moderation
modified modifiers module money month monthly months more most mount mouse move mp3 mp4 mrn ms multi
multiagent multiedit multiline multiple multiplier must mute mv n name names namespace nav navigate needle
network networking never new news next no node nodes noise none normal not note notebook notebookedit notes
notice notification notify npi npm null num number numbers oauth oauth2 obfuscation obj object objects
observation occurrence ocid of off office offset ok old older oldest on onboarded one only open opened
operation operator option optional options or order orders org organization origin original other otlp out
outcome outlook output outputs overage overlap override oversized owned owner package packages padding page
pages pagination panel parallel param parameter parameters params parent parse parsed part partial
participant participants parts pass passed passing password path pathname paths patient patients pattern
patterns pause paused pay payer payload payment pdf pem penalty pending per percent percentage performs
period permission permissions persona personality phase phases phone photo pick picture pill pinned pip
pixel pixels place plain plan platform player plot plugin plugins point points policy poll polling pool pop
port position post power powerpoint pr practice precondition predefined prediction preference preferred
prefill prefix premium prescription presence present press preview previous prewarm price primary principal
print priority privacy private prob probabilities probability probe problem procedure process processed
processing product products profile program programs progress project projects prompt properties property
protocol provider providers prs public published pull purchase purchaser purpose push put px python q qty
quality quantity queries query question questions queue queued quote radius random range rank ranker ranking
rate rating ratio raw rbac reach reaction read reason reasoning received recent recipient recipients reclaim
recommended record recording records recursive red redacted redeem redirect reduction ref reference
references referral refresh refund refusal regex region register registered reinforcement rejected relation
release reload remaining remind reminder remixed remote removal remove removed rename render repeat replace
replacements reply repo report reports repository req request requested requests require required
requirements res reset residency resolution resolved resource resources respond response responses restart
result results resume retention retired retires retries retrieved retry return returned reusable review
reviewer revised reward rewards rewrite rfc right ring ripgrep rm role roles room root rotate round route
routes row rows rubric rule rules run runs runtime s3 safeguards safety sample sampled samples sampling save
scale scan schedule scheduled schema scheme science scim scope scoped scopes score scores screen screenshot
screenshots script scroll sdp search seat second seconds secret secrets section sections security seed seek
segment segments select selected selector self send sender sent sentence sentiment sequence sequences series
served server servers service session sessions set setting settings setup severity sex sexual sh sha sha1
sha256 share shared sheet shell ship shipping short show shutdown side sign signal signature signed signing
silence single sip site size sizes skill skills skip sku slack slot slots slug snippet social sort source
sources space span speaker spec specialty speech speed speeds spend split sql src ssn stage start started
starting starts startup state states static station stats status statuses stderr stdin stdout steer step
steps stock stop stopped storage store stores str strategy stream streaming street strength strict string
structured style sub subagent subagents subject submit subprotocols subscription succeeded success suffix
suggestion sum summarize summary supervised supplier support supported suppress svg switch symbol symptom
symptoms sync syntax system tab table tables tabs tag tags target targets task tasks tax team technical
telemetry temp temperature template tenancy tenant term test testing tests text than theme then thinking
thread threads threatening threshold ticker ticket tickets tier tiers time timeout times timestamp timezone
title titling tmp to today todo todos todowrite toggle token tokens tool tools toolset top topic topics
total trace traces tracing track trading train trained training trait transaction transcript transcription
transcripts transform transformations translate transparency transport trigger triggers trim triple true
truncate truncated truncation trust ts tsx ttl tuned tuning tunnel turn turns type typed types ui unassign
unavailable unbound uncached unclassified under undo unified unique unit units unread unresponsive
unsupported until up upcoming update updated upload uploaded upper uri url urls usage use used user username
users uses utc utf8 uuid vad valid validate validated validation value values variable variables variant
vars vault vector vehicle vendor verbosity verdicts verification version video view viewed viewport violence
violent visibility visible visit visits vital vitals voice volume wait wake ward warning warnings watch way
web webfetch webhook websearch website week weekly weeks weight when where which widget width wiki window
windows with word words work worker workers workflow workflows working workload workspace workspaces write x
x1 x2 xhigh xml y y1 y2 year years yes yyyy z zip zone zoom
""".split()
)
