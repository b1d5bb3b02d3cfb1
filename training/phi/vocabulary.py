"""Names of many origins, places, and parts of made-up ones."""

LOCALES = (
    "en_US en_US en_US en_US en_GB en_CA en_AU en_IE en_IN en_NZ de_DE de_AT de_CH fr_FR fr_CH es_ES es_MX es_CO it_IT "
    "pt_BR pt_PT nl_NL nl_BE sv_SE da_DK no_NO fi_FI pl_PL cs_CZ hu_HU ro_RO tr_TR hr_HR sl_SI id_ID fil_PH vi_VN "
    "yo_NG zu_ZA ha_NG ga_IE et_EE lt_LT lv_LV sk_SK es_AR es_CL"
).split()
ROMANISED = {
    "east_asian": (
        "Wei Li Jing Fang Min Hui Xiao Ming Jun Lei Yan Ying Hao Jie Qiang Xin Yu Mei Ling Chen Hiroshi Yuki Sakura Kenji Aiko Haruto Takeshi Naoko Akira Yoko Ji-woo Min-jun Seo-yeon Hyun Soo-jin Young Jae-hyun Eun Thuy Anh Minh Linh Huong Tuan Phuong Duc Somchai Siriporn Nattapong",
        "Wang Li Zhang Liu Chen Yang Huang Zhao Wu Zhou Xu Sun Ma Zhu Hu Guo He Lin Luo Tanaka Suzuki Sato Watanabe Yamamoto Nakamura Kobayashi Kato Kim Park Lee Choi Jung Kang Cho Yoon Nguyen Tran Le Pham Hoang Phan Vu Dang Bui Do Saetang Wongsakul Srisai",
    ),
    "south_asian": (
        "Aarav Vivaan Aditya Arjun Sai Rohan Rahul Amit Priya Ananya Diya Isha Kavya Lakshmi Meera Neha Pooja Sunita Rajesh Suresh Vijay Sanjay Deepak Anil Manoj Imran Farhan Bilal Ayesha Fatima Zainab Nadia Kamal Nusrat Tahmina Chamara Nirosha Dilshan",
        "Patel Sharma Singh Kumar Gupta Reddy Iyer Nair Menon Rao Das Banerjee Mukherjee Chatterjee Ghosh Bose Desai Mehta Shah Joshi Kulkarni Deshpande Khan Ahmed Hussain Malik Qureshi Siddiqui Chowdhury Rahman Islam Perera Fernando Jayasuriya Bhattacharya Krishnan Subramanian Venkatesh",
    ),
    "arabic_persian_turkish": (
        "Mohammed Ahmed Ali Omar Youssef Khalid Hassan Hussein Ibrahim Mustafa Abdullah Fatima Aisha Mariam Layla Noor Huda Salma Zahra Yasmin Amira Reza Mehdi Farid Nasrin Shirin Leila Mehmet Emre Ayse Elif Zeynep Burak Osman Tariq Samir Rania Dina",
        "Al-Farsi Al-Sayed El-Sayed Haddad Khoury Mansour Nasser Saleh Hamdan Aziz Rahimi Hosseini Karimi Mohammadi Ahmadi Tehrani Yilmaz Kaya Demir Celik Sahin Aydin Ozturk Abdi Farouk Habib Jaber Kassem Najjar Shaheen Zidan Bakr Darwish",
    ),
    "african": (
        "Chinedu Ngozi Emeka Adaeze Oluwaseun Folake Tunde Amina Kwame Kofi Ama Abena Akosua Yaw Thabo Sipho Nomsa Lerato Tendai Rudo Chipo Wanjiru Kamau Otieno Achieng Abebe Tigist Selam Dawit Mamadou Fatou Aminata Ousmane Moussa Zanele Bongani Makena Jabari Zuberi",
        "Okafor Okonkwo Adeyemi Adebayo Okeke Nwosu Eze Balogun Mensah Owusu Asante Boateng Osei Dlamini Nkosi Ndlovu Zulu Khumalo Moyo Ncube Sibanda Mwangi Kamau Odhiambo Wambui Kariuki Bekele Tesfaye Haile Diallo Traore Keita Ndiaye Diop Sow Abubakar Mbeki Chukwu",
    ),
    "slavic_greek": (
        "Dmitri Sergei Ivan Alexei Mikhail Natalia Olga Svetlana Irina Tatiana Oksana Yulia Andriy Bohdan Taras Petar Dragan Milan Jelena Ana Nikola Stoyan Ivanka Giorgos Dimitris Eleni Katerina Nikos Vasilis Maria",
        "Ivanov Petrov Sidorov Smirnov Kuznetsov Popova Volkova Sokolov Shevchenko Kovalenko Bondarenko Melnyk Tkachenko Petrovic Jovanovic Nikolic Horvat Kovac Dimitrov Georgiev Papadopoulos Nikolaidis Georgiou Pappas Economou Konstantinou",
    ),
}  # fmt: skip
SURNAME_PARTS = (
    "ber",
    "man",
    "el",
    "ow",
    "ski",
    "ton",
    "ard",
    "ez",
    "ova",
    "ic",
    "son",
    "wood",
    "ley",
    "ani",
    "ou",
    "ara",
    "ke",
    "und",
    "sen",
    "ert",
)
ONSETS = (
    "b",
    "br",
    "c",
    "ch",
    "d",
    "dr",
    "f",
    "g",
    "gr",
    "h",
    "j",
    "k",
    "kr",
    "l",
    "m",
    "n",
    "p",
    "r",
    "s",
    "sh",
    "st",
    "t",
    "tr",
    "v",
    "w",
    "y",
    "z",
    "th",
)
NUCLEI = ("a", "e", "i", "o", "u", "ai", "ee", "ia", "ou", "ey")

COUNTRIES = (
    *(
        "France Germany Spain Italy Portugal Mexico Brazil Argentina Chile Peru Colombia Canada India China Japan Korea Vietnam Thailand Philippines Indonesia Australia Nigeria Ghana Kenya Egypt "
        "Morocco Turkey Iran Iraq Israel Lebanon Syria Pakistan Bangladesh Nepal Russia Ukraine Poland Sweden Norway Denmark Finland Ireland Scotland England Wales Greece Hungary Romania Austria "
        "Switzerland Belgium Netherlands Cuba Haiti Jamaica Ethiopia Somalia Sudan Uganda Zimbabwe Afghanistan USA UK U.S. Uganda Taiwan Singapore Malaysia"
    ).split(),
    "South Africa",
    "New Zealand",
    "Saudi Arabia",
    "Sri Lanka",
    "Costa Rica",
    "the United States",
    "the UK",
    "South Korea",
    "Puerto Rico",
)
ADJECTIVES = ("Sunrise", "Riverside", "Lakeside", "Mercy", "Grace", "Hope", "Westside", "Northside", "Eastside", "Valley", "Coastal", "Mountain View", "Good Samaritan", "Sacred Heart", "Providence", "Harbor", "Summit", "Evergreen", "Oakwood", "Maple Grove", "Green Valley", "Bayview", "Silver Lake", "Unity", "Liberty", "Cedar", "Golden State", "Holy Cross", "Trinity", "Central", "Metro", "Children's")  # fmt: skip
FACILITIES = ("Hospital", "Hospital", "Hospital", "Clinic", "Clinic", "Medical Center", "Medical Center", "Medical Centre", "Health Center", "Cancer Center", "Heart Institute", "Children's Hospital", "General Hospital", "Memorial Hospital", "Rehabilitation Center", "Nursing Home", "Hospice", "Surgery Center", "Urgent Care", "Pharmacy", "Dialysis Center", "Health System", "Healthcare", "Orthopedics", "Family Practice", "Eye Institute", "Women's Clinic", "Dermatology", "Pediatrics", "Elementary School", "High School", "Middle School", "University", "College", "Church", "Infirmary", "Wellness Center", "Medical Group", "Imaging", "Laboratory", "Care Home", "ER", "Med Ctr", "Med Center", "Medical Ctr", "Med", "Hosp", "Health Ctr", "Gen Hosp", "Univ Hosp", "Surgical Center", "Cancer Ctr", "Rehab", "Urgent Care Center")  # fmt: skip
STREETS = ("Street", "St", "St.", "Avenue", "Ave", "Ave.", "Road", "Rd", "Lane", "Ln", "Drive", "Dr", "Dr.", "Court", "Ct", "Boulevard", "Blvd", "Way", "Place", "Terrace", "Circle", "Parkway", "Highway", "Close", "Crescent", "Gardens", "Hill", "Row", "Walk", "Square")  # fmt: skip
