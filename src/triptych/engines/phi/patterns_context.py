"""Identifiers that only their context gives away: the words around capture the value and nothing else."""

from triptych.engines.phi.patterns import DIGIT, Pattern, word_set

_NUMBER = r"(?:numbers?|num|nbr|no|nr|nos|ids?|identifiers?|identification|code|#)"
_JOIN = r"(?:\s+(?:is|was|are|of|as|reads|under|with|for|the|her|his|my|their|patient|currently|listed|ending|in)\b){0,4}"
_BETWEEN = rf"\.?(?:[\s/._-]{{0,2}}{_NUMBER}\b\.?){{0,3}}{_JOIN}(?:\s?\((?:[a-z]{{2,6}}|{_NUMBER})\))?[\s:=#\"'`([*_-]{{0,5}}"
_VALUE = r"(?P<value>(?:(?-i:[A-Z]{1,6})[\s-])?[a-z0-9]{0,6}\d(?:[\s]?[-/._]?[a-z]{0,4}\d){1,24}(?:[-/]?[a-z]{1,4}\b)?|[a-z]{1,5}[-/]?\d(?:[-/]?[a-z0-9]){1,20}|[a-z0-9]{2,10}(?:[-/][a-z0-9]{1,12}){0,5}[-/]\d[a-z0-9]{0,11})\b"


_GLUED = ("", *"number numbers num nbr no nr nos id ids identifier identifiers identification code".split())


def _context(type: str, name: str, context: str, words: str, score: float = 0.9) -> Pattern:
    """``words``: one of them is in each alternative of ``context``. What follows may be written to it: ``accountnumber``."""
    held = frozenset(f"{word}{tail}" for word in word_set(words) for tail in _GLUED)
    return Pattern(type, name, rf"(?i)\b(?:{context}){_BETWEEN}{_VALUE}", score, words=held, shape=DIGIT)


CONTEXT = (
    _context(
        "MRN",
        "mrn",
        r"mrn|mr\s?#|medical rec(?:ord)?s?|med rec|patient (?:id|number|no|identifier|#)|pt (?:id|#)|chart|hospital (?:id|number|no)|unit (?:number|no)|health record|record (?:id|number|no)|file (?:number|no)|encounter|csn|visit (?:id|number|no)|admission (?:id|number|no)|emr|ehr",
        "mrn mr rec recs record records patient pt chart hospital unit file encounter csn visit admission emr ehr",
    ),
    _context(
        "HEALTH_PLAN_ID",
        "health_plan",
        r"health[ -]?(?:care )?(?:plan|insurance)(?: beneficiary| member| policy)?|health plan beneficiary|insurance(?: policy| member| card)?|member(?:ship)?|subscriber|policy|policyholder|beneficiary|hpbn|medicaid|medicare|mbi|hicn|plan (?:id|number|no|beneficiary)|group (?:id|number|no|#)|hmo|ppo|(?:blue cross|aetna|cigna|humana|kaiser|unitedhealth\w*|bcbs)",
        "plan insurance healthplan healthinsurance member membership subscriber policy policyholder beneficiary hpbn medicaid medicare mbi hicn group hmo ppo cross aetna cigna humana kaiser bcbs unitedhealth unitedhealthcare unitedhealthone",
    ),
    _context(
        "ACCOUNT_NUMBER",
        "account",
        r"(?:bank |checking |savings |patient |billing |hospital )?(?:account|acct|acc|a/c)|routing|sort code|aba|swift|bic|invoice|billing (?:id|number|no|code)|wire|guarantor",
        "account acct acc c routing code aba swift bic invoice billing wire guarantor",
    ),
    _context(
        "US_DRIVER_LICENSE",
        "driver_license",
        r"driv(?:er'?s?|ing) lic(?:en[cs]e|\.)?|\bdl|d\.l\.|state id|id card|identity card",
        "lic license licence dl l card id",
    ),
    _context(
        "MEDICAL_LICENSE",
        "licence",
        r"(?:medical |nursing |state |professional |pharmacy |board )?(?:licen[cs]e|lic)(?: (?:number|no|id))?|certificate|certification|cert|permit|registration|credential|upin|dea|gmc|nmc",
        "license licence lic certificate certification cert permit registration credential upin dea gmc nmc",
    ),
    _context(
        "US_PASSPORT",
        "passport",
        r"passport|visa (?:id|number|no)|travel document|green card|alien",
        "passport visa document card alien",
    ),
    _context(
        "VEHICLE_ID",
        "vehicle",
        r"vin|vehicle(?: identification| id| registration)?|(?:licen[cs]e|number|registration) plates?|plates?|tag (?:number|no)|chassis|car reg(?:istration)?",
        "vin vehicle plate plates tag chassis reg registration",
    ),
    _context(
        "DEVICE_ID",
        "device",
        r"serial|s/n|sn|device(?: serial)?|imei|imsi|udi|iccid|pacemaker|implant|defibrillator|icd (?:serial|device)|pump|lot (?:number|no|#)|model (?:number|no)|asset|mac|advertising",
        "serial n sn device imei imsi udi iccid pacemaker implant defibrillator icd pump lot model asset mac advertising",
    ),
    _context(
        "BIOMETRIC_ID",
        "biometric",
        r"(?:finger|voice|palm|retina(?:l)?|iris|face|facial)[ -]?(?:print|scan|template|recognition|id)?(?: scan| template| sample)? (?:id|identifier|number|no|ref(?:erence)?|#)|biometric(?: template| scan)?|dna (?:sample|profile)|fingerprint",
        "finger voice palm retina retinal iris face facial fingerprint voiceprint palmprint faceprint fingerscan palmscan irisscan facescan biometric dna",
    ),
    _context(
        "UNIQUE_ID",
        "reference",
        r"(?:case|claim|study|subject|participant|enrollment|specimen|sample|accession|order|ticket|employee|staff|badge|student|tax|national|citizen|user|customer|client|tracking|confirmation|booking|reservation|prescription|rx|referral|authorization|auth|transaction|shipment|parcel|imaging|lab|report|protocol|donor|trial|registry|photo|image|id|identifier|token|unique (?:id|identifier|code)|reference|ref|appointment)(?: (?:id|identifier|number|no|code|ref(?:erence)?)|[ .:]?#|\s?:)|pnr|identifier|uid|uuid|guid|tin|itin|ein|sin|nhs|nino|aadhaar|pan|cpf|cnpj|dni|nif|nie|curp|rfc|bsn|pesel|cnic|nric|steuer-?id|ahv|personnummer",
        "case claim study subject participant enrollment specimen sample accession order ticket employee staff badge student tax national citizen user customer client tracking confirmation booking reservation prescription rx referral authorization auth transaction shipment parcel imaging lab report protocol donor trial registry photo image id identifier token unique reference ref appointment pnr uid uuid guid tin itin ein sin nhs nino aadhaar pan cpf cnpj dni nif nie curp rfc bsn pesel cnic nric steuer steuerid ahv personnummer",
        0.85,
    ),
    Pattern(
        "US_ZIP",
        "zip",
        r"(?i)\b(?:zip(?:[ -]?code)?|postal code|post ?code|plz|cap|postcode)(?: is| of)?[\s:=#]{0,3}(?P<value>\d{4,5}(?:-\d{4})?|[a-z]{1,2}\d[a-z\d]? ?\d[a-z]{2}|[a-z]\d[a-z][ -]?\d[a-z]\d)\b",
        0.9,
        words=word_set("zip zipcode postal post postcode plz cap"),
        shape=DIGIT,
    ),
    Pattern(
        "US_ZIP",
        "zip_after_state",
        r"\b(?:A[KLPRZ]|C[AOT]|D[CE]|FL|G[AU]|HI|I[ADLN]|K[SY]|LA|M[ADEINOST]|N[CDEHJMVY]|O[HKR]|P[AR]|RI|S[CD]|T[NX]|UT|V[AIT]|W[AIVY]|AA|AE|[A-Z][a-z]{3,12}),?\s+(?P<value>\d{5}(?:-\d{4})?)\b",
        0.8,
        shape=r"[A-Za-z],?\s+\d{5}\b",
    ),
    Pattern("US_ZIP", "zip4", r"\b\d{5}-\d{4}\b", 0.8),
    Pattern(
        "LOCATION", "postcode", r"\b(?:[A-Z]{1,2}\d[A-Z\d]? \d[A-Z]{2}|[A-Z]\d[A-Z][ -]?\d[A-Z]\d)\b", 0.8
    ),
)

_SUFFIX = (
    "street|avenue|road|boulevard|lane|drive|court|place|terrace|circle|highway|parkway|square|trail|alley|"
    "crescent|close|expressway|freeway|turnpike|plaza|mews|grove|ridge|pike|crossing|heights|wharf|ave|blvd|hwy|pkwy|"
    "rd|ln|dr|ct|cir|st|ter|sq|trl|pl|way|loop|row|walk|run|path|green|gardens|hill"
)
_UNIT = r"(?i:[,.]?,?\s{1,2}(?:apt|apartment|suite|ste|unit|floor|fl|room|rm|bldg|building|lot|#)\.?\s?#?\s?[A-Za-z]?\d{0,5}[A-Za-z]?\b)?"
ADDRESSES = (
    Pattern(
        "LOCATION",
        "po_box",
        r"(?i)\b(?:p\.?\s?o\.?|post(?:al)?\s?(?:office)?)\s?box\s?(?:no\.?|#)?\s?[a-z]{0,2}\d{1,7}[a-z]?\b|\b(?:psc|unit|cmr)\s\d{1,6},?\s(?:box|no)\s\d{1,6}\b|\b(?:postfach|apartado(?: postal)?|postbus|casella postale|boite postale|caixa postal|locked bag|gpo box|private bag|rr|rural route|hc)\s\d[\d ]{0,7}\b",
        0.9,
        words=word_set(
            "box boxno pobox poboxno postbox postboxno postfach apartado postbus casella boite caixa bag rr route hc psc unit cmr"
        ),
        shape=DIGIT,
    ),
    Pattern(
        "LOCATION",
        "street",
        rf"\b\d{{1,6}}(?:[A-Za-z]\b)?(?:\s?[-/]\s?\d{{1,5}})?,?\s{{1,2}}(?:(?:[NSEWnsew]\.?|[NSns][EWew]|North|South|East|West)\s)?(?:[A-Z0-9][\w'.-]{{0,24}}\s){{1,4}}(?:(?i){_SUFFIX})\b\.?(?:\s(?:[NSEW]\.?|[NS][EW]|North|South|East|West)\b)?{_UNIT}",
        0.85,
        words=word_set(_SUFFIX),
        shape=DIGIT,
    ),
    Pattern(
        "LOCATION",
        "street_lowercase",
        rf"\b\d{{1,6}}\s(?:[a-z][a-z'-]{{1,20}}\s){{1,3}}(?:street|avenue|road|boulevard|lane|drive|court|terrace|parkway|highway|ave|blvd|rd|ln)\b{_UNIT}",
        0.75,
        words=word_set(_SUFFIX),
        shape=DIGIT,
    ),
    Pattern(
        "LOCATION",
        "street_unnumbered",
        r"\b(?:[A-Z][\w'-]{1,24}\s){1,3}(?:Street|Avenue|Road|Boulevard|Blvd|Lane|Drive|Court|Terrace|Parkway|Highway|Hwy|Crescent)\b",
        0.7,
        words=word_set(_SUFFIX),
    ),
    Pattern(
        "LOCATION",
        "unit",
        r"\b(?:[Aa]pt|[Aa]partment|[Ss]uite|[Ss]te)\.?\s?#?\s?\d{1,5}[A-Za-z]?\b",
        0.6,
        words=word_set("apt apartment suite ste"),
        shape=DIGIT,
    ),
    Pattern(
        "LOCATION",
        "street_number_last",
        r"\b[A-Z][\w'-]{1,30}(?:strasse|straat|str\.?|weg|platz|plein|allee|gasse|laan|gracht|kade|gatan|vagen|gade|vej|veien|gata|ring|damm|ufer)\s\d{1,5}\s?[a-z]?\b|\b(?:[A-Z][\w'-]{1,30}\s){1,3}(?:Strasse|Str\.|Weg|Platz|Allee|utca|ulice)\s\d{1,5}\s?[a-z]?\b",
        0.85,
        shape=r"(?:strasse|straat|str\.?|weg|platz|plein|allee|gasse|laan|gracht|kade|gatan|vagen|gade|vej|veien|gata|ring|damm|ufer|Strasse|Str\.|Weg|Platz|Allee|utca|ulice)\s\d",
    ),
    Pattern(
        "LOCATION",
        "street_number_last_word_first",
        r"\b(?:[Rr]ue|[Cc]alle|C/|[Aa]venida|Av\.|Avda\.?|[Pp]laza|[Pp]aseo|[Rr]ua|[Vv]ia|[Vv]iale|[Pp]iazza|[Cc]orso|[Ll]argo|[Tt]ravessa|[Cc]arrera|[Uu]lica|ul\.|[Cc]allejon|[Aa]lameda|[Ss]trada)\s(?:(?:de|del|della|dei|la|las|los|di|da|do|dos|das|el)\s){0,3}[A-Z][\w'-]{1,24}(?:\s(?:(?:de|del|la|di|da|do|y|e)\s)?[A-Z][\w'-]{1,24}){0,3},?\s(?:n\.?[\xbao]?\s?)?\d{1,5}\s?[A-Za-z]?\b",
        0.85,
        words=word_set(
            "rue calle c avenida av avda plaza paseo rua via viale piazza corso largo travessa carrera ulica ul callejon alameda strada"
        ),
        shape=DIGIT,
    ),
    Pattern(
        "LOCATION",
        "street_french",
        r"\b\d{1,5}(?:\s?(?:bis|ter))?,?\s(?:[Rr]ue|[Aa]venue|[Bb]oulevard|[Bb]d|[Pp]lace|[Cc]hemin|[Aa]llee|[Ii]mpasse|[Qq]uai|[Cc]ours|[Rr]oute|[Pp]assage|[Ss]quare)\s(?:(?:de|du|des|la|le|les)\s|d'|l'){0,3}[A-Z][\w'-]{1,24}(?:[\s-][A-Z][\w'-]{1,24}){0,3}",
        0.85,
        words=word_set("rue avenue boulevard bd place chemin allee impasse quai cours route passage square"),
        shape=DIGIT,
    ),
    Pattern(
        "LOCATION",
        "facility",
        r"\b(?:(?:St\.?|Saint|Mt\.?|The|[A-Z][\w'&.-]{1,24})\s){1,5}(?:(?:and|of|&)\s)?(?:[A-Z][\w'-]{1,24}\s){0,2}(?:Hospitals?|Clinics?|Medical (?:Center|Centre|Group|Associates)|Health (?:Center|Centre|System|Network)|Healthcare|Infirmary|Hospice|Nursing Home|Rehabilitation (?:Center|Centre)|Surgery Center|Urgent Care|Pharmacy|Laborator(?:y|ies)|Sanatorium|Rehab|(?:Medical|Med\.?|Health|Hlth|Cancer|Heart|Surgical|Trauma|Eye) (?:Ctr|Cntr|Cent(?:er|re)|Grp|Group|Inst)|(?:(?:Gen|Mem|Univ|Comm|Reg|Childrens)\.? )?Hosp|VAMC|High School|Elementary School|University|College|Airport|Church)\b(?:\s(?:of|at)\s[A-Z][\w'-]{1,24}(?:\s[A-Z][\w'-]{1,24})?)?",
        0.7,
        words=word_set(
            "hosp ctr cntr center centre grp group inst vamc hospital hospitals clinic clinics medical health healthcare infirmary hospice nursing rehabilitation surgery urgent pharmacy laboratory laboratories sanatorium rehab school university college airport church"
        ),
    ),
    Pattern(
        "LOCATION",
        "facility_short",
        r"(?:\b(?:[Aa]t|[Ff]rom|[Tt]o|[Vv]ia|[Vv]isited|[Nn]ear)|@)\s?(?P<value>(?:[A-Z][\w'&-]{1,24}\s){1,3}(?:Med|Univ|Peds|Rehab|Onc|Ortho))\b",
        0.7,
        words=word_set("med univ peds rehab onc ortho"),
    ),
)
_TITLES = (
    "Mrs?|Ms|Mx|Miss|Dr|Prof|Doctor|Professor|Nurse|Sir|Lady|Father|Sister|Pastor|Rabbi|Imam|Herr|Frau|Mme|Mlle|"
    "Madame|Monsieur|Senor|Senora|Sra?|Signora?|Don|Dona"
)
_NAME = r"[A-Z](?:[a-z'-]+[A-Z]?[a-z'-]*|\.|\b)"
PERSONS = (
    Pattern(
        "PERSON",
        "title",
        rf"\b(?:{_TITLES})\.?\s{{1,2}}{_NAME}(?:[\s-]{{1,2}}(?:(?:van|von|de|der|den|del|della|di|da|dos|al|el|bin|ibn|la|le)\s){{0,2}}{_NAME}){{0,3}}",
        0.8,
        words=word_set(_TITLES.lower().replace("?", ""), "mr sr signor"),
    ),
    Pattern(
        "PERSON",
        "named",
        r"(?:\b[Nn]ame(?:d| is|:|\s?=)|\b(?:I'm|I am|called|[Dd]ear|[Pp]atient:?|[Pp]t:?|[Ss]igned,?|[Rr]egards,?|[Ss]incerely,?))"
        rf"\s{{1,2}}(?P<value>{_NAME}(?:[\s-]{{1,2}}{_NAME}){{1,3}})",
        0.75,
        words=word_set("name named m am called dear patient pt signed regards sincerely"),
    ),
)
